"""Files that carry more than an image: projects of other programs.

Of ilastik's, ilp.py reads what they hold, ilp_images.py opens what they link to, ilp_models.py makes classifiers of them.
"""
